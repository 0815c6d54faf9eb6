/* Prices of food and other goods that the World Food Programme collects in markets, one row per price. Rows without a country, date, unit or US dollar price are left out and counted in marts.rejected_rows. */
MODEL (
  name staging.stg_wfp_food_prices__prices,
  kind VIEW,
  owner analytics,
  tags (
    wfp_food_prices
  ),
  grain (source_file, source_row),
  audits (
    not_null(columns := (country_iso3, price_date, commodity, unit, price_usd)),
    unique_combination_of_columns(columns := (source_file, source_row)),
    accepted_range("column" := price_usd, min_v := 0)
  )
);

SELECT
  countryiso3::TEXT AS country_iso3, /* Three-letter country code */
  date::DATE AS price_date, /* The 15th of the month that the price stands for */
  market_id::BIGINT AS market_id, /* Number of the market */
  market::TEXT AS market, /* Its name */
  category::TEXT AS category, /* Group of goods, such as cereals and tubers; non-food among them */
  commodity::TEXT AS commodity, /* What is sold */
  unit::TEXT AS unit, /* Quantity that the price is for: KG, 50 KG, L, 30 pcs */
  pricetype::TEXT AS price_type, /* Retail or Wholesale */
  priceflag::TEXT AS price_flag, /* actual, aggregate, or both */
  currency::TEXT AS currency, /* Code of the local currency; some changed their code over the years */
  price::DOUBLE AS price, /* In the local currency */
  usdprice::DECIMAL(14, 2) AS price_usd, /* In US dollars, converted by the World Food Programme */
  source_file::TEXT AS source_file, /* The file it came in */
  source_row::BIGINT AS source_row /* Its row there, the first being 1 */
FROM raw.wfp_food_prices__prices
WHERE
  @wfp_food_prices_rejection() IS NULL
