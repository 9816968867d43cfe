"""Trains a model in a process, or in several under torchrun, of which each may take only so much memory.

    python out_of_memory.py DATA RUN SHARE [--resume]        SHARE: of the weights' size, as the limit

It prints what the process took at most, in shares of the weights' size.
"""
