-- The airports from which flights leave.
-- @key iata
SELECT a.iata, a.city, a.state, count(*) AS flights
FROM flight f
JOIN airport a ON a.iata = f.origin
GROUP BY a.iata
ORDER BY a.city, a.iata
