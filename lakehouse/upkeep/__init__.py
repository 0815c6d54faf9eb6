"""What keeps a lake well: maintenance, backup and restore, verification, the doctor, alerts."""
