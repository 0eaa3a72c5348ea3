"""The commands of ``hsonet``, a file each: its arguments, what it calls, the answer that it prints."""
