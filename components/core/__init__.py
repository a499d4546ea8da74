"""The ground floor: what every step stands on. Knows no paper."""
