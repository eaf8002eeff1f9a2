"""What a file came from: canonical form, fingerprints of code, the ledger, facts worth remembering."""
