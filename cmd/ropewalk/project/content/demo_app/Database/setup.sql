-- The table of the live view. To publish to this file runs it:
--   ropewalk publish query:/demo_app/Database/setup.sql '{}'
create table if not exists departures (
  id integer primary key,
  flight text not null,
  destination text not null,
  gate text not null,
  planned text not null,          -- HH:MM
  delay integer not null default 0 check (delay between 0 and 600),
  status text not null default 'on time' check (status in ('on time', 'boarding', 'delayed', 'cancelled'))
);

insert into departures (id, flight, destination, gate, planned, delay, status) values
  (1, 'RW 108', 'Lisbon', 'A2', '06:40', 0, 'boarding'),
  (2, 'RW 214', 'Oslo', 'B7', '07:15', 12, 'delayed'),
  (3, 'RW 330', 'Athens', 'A5', '08:05', 0, 'on time'),
  (4, 'RW 117', 'Porto', 'C1', '08:50', 0, 'on time'),
  (5, 'RW 402', 'Bergen', 'B3', '09:30', 25, 'delayed'),
  (6, 'RW 551', 'Split', 'A2', '10:10', 0, 'on time'),
  (7, 'RW 226', 'Gdansk', 'C4', '11:00', 0, 'on time'),
  (8, 'RW 610', 'Valletta', 'A5', '12:25', 40, 'delayed'),
  (9, 'RW 345', 'Tallinn', 'B7', '13:45', 0, 'on time'),
  (10, 'RW 119', 'Lisbon', 'A2', '15:20', 0, 'on time')
on conflict (id) do nothing;
