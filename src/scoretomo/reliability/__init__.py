"""How reliable each volume is: model and calibration."""
