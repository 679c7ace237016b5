"""Telling a server of MLflow about a run, beside it and in a process of its own.

Training writes a line for a step to a file of its container (curve.py) and waits for nobody. A process that gives way
to all others sends what is there (process.py, beside.py); what it could not send is sent by whoever comes next: the
same process, the next attempt, or the task that publishes. All of it is in the run's folder (run_folder.py).
"""
