"""Metadata and contents of exported models, read without PyTorch and ONNX."""
