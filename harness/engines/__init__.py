"""What runs inside the process of a native engine: one module an engine, and the loop they share.

These modules import nothing of the harness that is not needed here: what the process takes is
measured, and the harness's own weight would be part of it.
"""
