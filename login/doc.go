// Package login is what applications log people in with: passwords and
// passkeys against a user table that they name. It is a service, login:, that a
// node serves when the configuration has a user table.
//
//	login:/password           {user, password}: log in
//	login:/password/change    {password, newPassword}
//	login:/passkey/begin      {user}: options for navigator.credentials.get
//	login:/passkey/finish     {credential}: log in
//	login:/passkey/register/begin, login:/passkey/register/finish
//	login:/passkey/list, login:/passkey/delete
//	login:/logout             {everywhere}
//	login:/me                 who the caller is
//
// Whoever logs in has their session changed: it gets the id of the user as
// subject, and the claims that the table holds. All claims from before go,
// except those that [Config.Keep] names.
//
// # What an attacker sees
//
// An unknown user, a wrong password, a user who is disabled and one who has no
// password are answered alike, after the same work. Wrong passwords cost time:
// per user and address, and per address. A user under attack from many
// addresses can always log in from another one at the first try; see
// [Throttle].
//
// Passwords, hashes and challenges are in no log, no error and no [Event].
package login
