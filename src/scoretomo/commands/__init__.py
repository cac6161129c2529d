"""What a user may call beside a run: evaluate, export, figures, info, simulate, sample, reproduce."""
