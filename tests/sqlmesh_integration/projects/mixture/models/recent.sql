MODEL (name staging.known_pages, kind EMBEDDED);

SELECT names.short AS page, names.title AS title FROM seeds.page_names AS names
