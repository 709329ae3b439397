"""The Lorenz experiment of Patel and Wikner (2023)."""
