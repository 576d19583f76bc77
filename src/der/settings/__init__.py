"""Every knob as frozen, checked data, and its two forms as text: YAML and presets."""
