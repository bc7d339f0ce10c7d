"""Turns results into something to look at. Pure: data in, text or renderables out."""
