"""ONNX: the graph of a decoder, its external data, and the user's own files."""
