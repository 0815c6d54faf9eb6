MODEL (
  name seeds.page_names,
  kind SEED (path '../seeds/page_names.csv'),
  columns (short TEXT, title TEXT)
);
