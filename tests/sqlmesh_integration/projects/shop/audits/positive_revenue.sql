AUDIT (name positive_revenue);

SELECT * FROM @this_model WHERE revenue_usd < 0
