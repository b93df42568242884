"""What other fetchers left behind, read: their configurations, and the unique-ids that they have seen."""
