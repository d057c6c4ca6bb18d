"""The right answers, one module per concept. They import nothing from outside."""
