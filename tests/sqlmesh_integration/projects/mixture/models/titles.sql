MODEL (name marts.titles, kind VIEW);

SELECT
  pages.page::TEXT AS page,
  known.title::TEXT AS title
FROM marts.pages AS pages
JOIN staging.known_pages AS known
  ON known.page = pages.page
