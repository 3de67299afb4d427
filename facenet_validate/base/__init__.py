"""The vocabulary, and what every room above needs: errors, digests, files, machine facts."""
