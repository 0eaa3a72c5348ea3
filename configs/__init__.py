"""The configs of HSONet, installed as ``hsonet_mm.configs``."""
