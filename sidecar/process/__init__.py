"""The process as such: its streams, its logs, the death of its parent, the folder it was unpacked into."""
