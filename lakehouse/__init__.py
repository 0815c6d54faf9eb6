"""What the lake is and how to reach it: settings, services, the lake, who may write. No Dagster in here."""
