"""Trunks and heads, written for members: every parameter has the member axis first."""
