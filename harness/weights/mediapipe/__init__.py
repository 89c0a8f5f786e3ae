"""Synthetic models in MediaPipe's container for the web, bare and inside a `.litertlm`."""
