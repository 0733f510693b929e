"""How far a run is from its plan, and what the fleet's decisions cost."""
