"""The devices, files and processes of this machine, and what torch does not promise."""
