AUDIT (name small_enough, defaults (most = 1000));

SELECT * FROM @this_model WHERE clicks > @most
