"""fetchd.oauth: against scripted endpoints; with the mark ``oauth`` against a real provider and a Dovecot."""
