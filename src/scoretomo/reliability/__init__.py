"""How far each volume can be trusted: model and calibration."""
