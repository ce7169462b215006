-- Every output table of flights.yaml from scratch, in plain SQL over the whole year at once: what
-- the increments have to come to. Written by hand, and nothing of Knockon's is used.

DROP SCHEMA IF EXISTS rebuild CASCADE;
CREATE SCHEMA rebuild;
SET LOCAL search_path = rebuild, nyc;

-- A flight and an hour of weather belong to the day that New York's calendars showed.
CREATE TEMPORARY TABLE flown ON COMMIT DROP AS
SELECT *, (time_hour AT TIME ZONE 'America/New_York')::date AS local_day FROM nyc.flights;

CREATE TEMPORARY TABLE measured ON COMMIT DROP AS
SELECT *, (time_hour AT TIME ZONE 'America/New_York')::date AS local_day FROM nyc.weather;

ANALYZE flown, measured;

-- A day counts in seven trailing weeks: the one that ends with it, and six that end later.
CREATE TEMPORARY TABLE trailing_weeks ON COMMIT DROP AS
SELECT each::date AS within, each::date + later AS last_day
FROM generate_series(timestamp '2013-01-01', timestamp '2013-12-31', interval '1 day') AS each,
     generate_series(0, 6) AS later
WHERE each::date + later <= date '2013-12-31';

CREATE TABLE hourly AS
SELECT local_day AS dt,
       origin,
       time_hour,
       count(*) AS flights,
       count(*) FILTER (WHERE dep_time IS NULL) AS canceled,
       count(dep_delay) AS departed,
       coalesce(sum(dep_delay), 0) AS delay
FROM flown
GROUP BY local_day, origin, time_hour;

CREATE TABLE hourly_sky AS
SELECT f.local_day AS dt,
       f.origin,
       f.time_hour,
       CASE
           WHEN w.precip > 0 THEN 'wet'
           WHEN w.visib < 3 THEN 'misty'
           WHEN w.wind_speed >= 20 THEN 'windy'
           WHEN w.visib IS NULL THEN 'unknown'
           ELSE 'fair'
       END AS sky,
       count(*) AS flights,
       count(f.dep_delay) AS departed,
       coalesce(sum(f.dep_delay), 0) AS delay
FROM flown f
LEFT JOIN measured w ON w.origin = f.origin AND w.time_hour = f.time_hour
GROUP BY f.local_day, f.origin, f.time_hour, w.precip, w.visib, w.wind_speed;

CREATE TABLE monthly_sky AS
SELECT date_trunc('month', dt)::date AS month,
       sky,
       count(*) AS hours,
       sum(departed)::bigint AS departed,
       sum(delay)::bigint AS delay,
       round(sum(delay) / nullif(sum(departed), 0), 2) AS mean_delay
FROM hourly_sky
GROUP BY date_trunc('month', dt)::date, sky;

CREATE TABLE year_by_sky AS
SELECT sky,
       count(*) AS hours,
       sum(departed)::bigint AS departed,
       round(sum(delay) / nullif(sum(departed), 0), 2) AS mean_delay
FROM hourly_sky
GROUP BY sky;

CREATE TABLE daily_airports AS
SELECT local_day AS dt,
       origin,
       count(*) AS flights,
       count(*) - count(dep_time) AS canceled,
       count(dep_delay) AS departed,
       coalesce(sum(dep_delay), 0) AS delay
FROM flown
GROUP BY local_day, origin;

CREATE TABLE trailing_airports AS
SELECT last_day AS dt,
       origin,
       count(*) AS flights,
       round(coalesce(sum(dep_delay), 0)::numeric / nullif(count(dep_delay), 0), 2) AS mean_delay
FROM flown
JOIN trailing_weeks ON within = local_day
GROUP BY last_day, origin;

CREATE TABLE daily_air AS
SELECT local_day AS dt,
       origin,
       min(temp) AS coldest,
       max(temp) AS warmest,
       round(avg(pressure), 1) AS pressure
FROM measured
GROUP BY local_day, origin;

CREATE TABLE trailing_rain AS
SELECT last_day AS dt, origin, sum(precip) AS inches
FROM measured
JOIN trailing_weeks ON within = local_day
GROUP BY last_day, origin;

CREATE TABLE daily_airlines AS
SELECT local_day AS dt,
       carrier,
       name AS airline,
       count(*) AS flights,
       count(*) FILTER (WHERE arr_delay <= 15) AS on_time
FROM flown
JOIN airlines USING (carrier)
GROUP BY local_day, carrier, name;

CREATE TABLE weekly_airlines AS
SELECT date_trunc('week', local_day)::date AS week,
       carrier,
       name AS airline,
       count(*) AS flights,
       count(*) FILTER (WHERE arr_delay <= 15) AS on_time
FROM flown
JOIN airlines USING (carrier)
GROUP BY date_trunc('week', local_day)::date, carrier, name;

CREATE TABLE trailing_airlines AS
SELECT last_day AS dt,
       airline,
       round(100 * sum(on_time) / sum(flights), 1) AS percent_on_time
FROM daily_airlines
JOIN trailing_weeks ON within = dt
GROUP BY last_day, airline;

CREATE TABLE daily_seats AS
SELECT local_day AS dt, origin, count(*) AS planes, sum(seats) AS seats
FROM flown
JOIN planes USING (tailnum)
WHERE dep_time IS NOT NULL
GROUP BY local_day, origin;

CREATE TABLE weekly_seats AS
SELECT date_trunc('week', local_day)::date AS week,
       origin,
       count(*) AS planes,
       sum(seats) AS seats
FROM flown
JOIN planes USING (tailnum)
WHERE dep_time IS NOT NULL
GROUP BY date_trunc('week', local_day)::date, origin;

CREATE TABLE daily_seat_hours AS
SELECT dt, origin, round(seats * delay::numeric / nullif(departed, 0) / 60, 1) AS seat_hours
FROM daily_airports
JOIN daily_seats USING (dt, origin);

CREATE TABLE daily_fleet AS
SELECT local_day AS dt,
       manufacturer,
       count(*) AS flights,
       sum(distance) AS miles,
       round(avg(2013 - planes.year), 1) AS mean_age
FROM flown
JOIN planes USING (tailnum)
GROUP BY local_day, manufacturer;

CREATE TABLE monthly_fleet AS
SELECT date_trunc('month', local_day)::date AS month,
       manufacturer,
       count(*) AS flights,
       sum(distance)::bigint AS miles
FROM flown
JOIN planes USING (tailnum)
GROUP BY date_trunc('month', local_day)::date, manufacturer;

CREATE TABLE monthly_routes AS
SELECT date_trunc('month', local_day)::date AS month,
       origin,
       dest,
       name AS destination,
       count(*) AS flights,
       round(avg(air_time), 1) AS mean_air_time
FROM flown
LEFT JOIN airports ON faa = dest
GROUP BY date_trunc('month', local_day)::date, origin, dest, name;
