"""The command line: one small file per command. The only place that knows typer, exit codes and the console."""
