"""The page's sections: each takes everything that is known and makes its part, or says what it lacks."""
