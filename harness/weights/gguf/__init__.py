"""Writer of synthetic models in GGUF, the format of llama.cpp."""
