"""The machine: devices, memory, processes, executors, files and progress bars."""
