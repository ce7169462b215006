-- Keys, added after the load because that is faster. Those of flights and weather begin with
-- what their partitions are cut by; a key also lets Knockon see which columns an UPDATE changed.
ALTER TABLE nyc.flights ADD PRIMARY KEY (time_hour, origin, carrier, flight);
ALTER TABLE nyc.weather ADD PRIMARY KEY (time_hour, origin);
ALTER TABLE nyc.planes ADD PRIMARY KEY (tailnum);
ALTER TABLE nyc.airports ADD PRIMARY KEY (faa);
ALTER TABLE nyc.airlines ADD PRIMARY KEY (carrier);
ANALYZE nyc.flights, nyc.weather, nyc.planes, nyc.airports, nyc.airlines;
