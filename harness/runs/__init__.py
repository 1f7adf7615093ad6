"""What a run is and what it leaves behind. Import the modules: `report` alone is light, `run` brings torch."""
