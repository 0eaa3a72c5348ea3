"""What an exported model says about itself, and what its file holds; neither PyTorch nor ONNX is needed."""
