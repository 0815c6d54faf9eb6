"""Who may write to the lake, and when: locks give order, marks give safety, touched ranges make work due."""
