#include "search/records/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cstring>
#include <limits>

#include "base/error.h"

namespace burnish::search {

namespace {

constexpr int wait_ms = 30'000;  // for other writers: each of their transactions takes milliseconds

// What is wrong and what to do, as a sentence that begins with the file's name.
std::string sentence(const std::string& file, int code, int system_error,
                     const std::string& detail) {
  const std::string why = system_error ? std::strerror(system_error) : detail;
  // What the system said is lost on the way here.
  if (code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_SHMSIZE) {
    return fmt::format("{} cannot grow: the disk is full, or a limit on the size of files is "
                       "reached; make room and try "
                       "again: everything committed before is kept",
                       file);
  }
  switch (code & 0xff) {
  case SQLITE_NOTADB:
    return fmt::format("{} is no database of records, or its beginning is damaged; `burnish "
                       "records doctor {} --salvage "
                       "NEW.db` saves what is readable",
                       file, file);
  case SQLITE_CORRUPT:
    return fmt::format(
        "{} is damaged ({}); `burnish records doctor {} --salvage NEW.db` saves what is readable",
        file, detail, file);
  case SQLITE_FULL:
    return fmt::format("{} cannot grow: the disk is full; free some space and try again: "
                       "everything committed before is "
                       "kept",
                       file);
  case SQLITE_READONLY:
  case SQLITE_PERM:
    return fmt::format("{} cannot be written ({}); give write permission for it and its folder, or "
                       "copy it elsewhere",
                       file, detail);
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return fmt::format(
        "{} is locked: another process has been writing for more than {} s; wait for it or end it",
        file, wait_ms / 1000);
  case SQLITE_CANTOPEN:
    return fmt::format(
        "cannot open {}: {}; give the path of a database in a folder that can be written", file,
        why);
  case SQLITE_IOERR:
    return fmt::format("{} cannot be read or written: {} ({}); check the disk that it is on", file,
                       why, detail);
  case SQLITE_NOMEM: return fmt::format("{}: out of memory", file);
  case SQLITE_TOOBIG:
    return fmt::format("{}: a text is larger than the database takes ({})", file, detail);
  default: return fmt::format("{}: {} (SQLite's error {})", file, detail, code);
  }
}

// A path as SQLite's URI, in which ?, # and % mean something.
std::string uri(const std::filesystem::path& path, std::string_view options) {
  std::string text = "file:";
  for (const char c : path.string()) {
    if (c == '?' || c == '#' || c == '%') {
      text += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    } else {
      text += c;
    }
  }
  return text + std::string(options);
}

}  // namespace

SqliteError::SqliteError(const std::string& file, int code, int system_error,
                         const std::string& detail)
    : std::runtime_error(sentence(file, code, system_error, detail)), code(code) {}

bool SqliteError::damaged() const {
  return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}
bool SqliteError::cannot_open() const {
  return (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY;
}

Connection::Connection(const std::filesystem::path& path, Open how, std::string name)
    : name_(std::move(name)) {
  int flags = SQLITE_OPEN_NOMUTEX;
  std::string file = path.string();
  switch (how) {
  case Open::Write: flags |= SQLITE_OPEN_READWRITE; break;
  case Open::Create: flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE; break;
  case Open::Immutable:
    flags |= SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
    file = uri(path, "?immutable=1");
    break;
  case Open::Memory:
    flags |= SQLITE_OPEN_READWRITE;
    file = ":memory:";
    break;
  }
  const int code = sqlite3_open_v2(file.c_str(), &db_, flags, nullptr);
  if (code != SQLITE_OK) {
    SqliteError error(name_, code, db_ ? sqlite3_system_errno(db_) : 0, sqlite3_errstr(code));
    sqlite3_close(db_);
    throw error;
  }
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_timeout(db_, wait_ms);
  // A hostile file's schema may hold expressions: none of them may call what has effects.
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
}

Connection::~Connection() { sqlite3_close(db_); }

void Connection::fail(int code) const {
  throw SqliteError(name_, code, sqlite3_system_errno(db_), sqlite3_errmsg(db_));
}

void Connection::run(const char* sql) {
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code);
}

int64_t Connection::integer(const char* sql) {
  Statement s(*this, sql);
  return s.step() ? s.integer(0) : 0;
}

std::string Connection::text(const char* sql) {
  Statement s(*this, sql);
  return s.step() ? s.text(0) : "";
}

int64_t Connection::changes() const { return sqlite3_changes64(db_); }

void Connection::keep_log(bool keep) {
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep ? 1 : 0, nullptr);
}

void Connection::tolerate_damage() {
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
  run("PRAGMA writable_schema = ON");  // a file that is shorter than its header says is read all
                                       // the same
  run("PRAGMA cell_size_check = ON");
}

Connection Connection::in_memory() const {
  Connection copy({}, Open::Memory, name_);
  sqlite3_backup* backup = sqlite3_backup_init(copy.db_, "main", db_, "main");
  if (!backup) copy.fail(sqlite3_errcode(copy.db_));
  sqlite3_backup_step(backup, -1);
  const int code = sqlite3_backup_finish(backup);
  if (code != SQLITE_OK)
    throw SqliteError(name_, code, sqlite3_system_errno(db_), sqlite3_errstr(code));
  return copy;
}

Statement::Statement(const Connection& db, std::string_view sql) : db_(&db) {
  const int code = sqlite3_prepare_v3(db.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  if (code != SQLITE_OK) db.fail(code);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int at, std::string_view text) {
  const char* start = text.data() ? text.data() : "";
  const int code =
      sqlite3_bind_text64(statement_, at, start, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (code != SQLITE_OK) db_->fail(code);
  return *this;
}

Statement& Statement::bind(int at, int64_t value) {
  const int code = sqlite3_bind_int64(statement_, at, value);
  if (code != SQLITE_OK) db_->fail(code);
  return *this;
}

Statement& Statement::bind(int at, double value) {
  const int code = sqlite3_bind_double(statement_, at, value);
  if (code != SQLITE_OK) db_->fail(code);
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  const SqliteError error(db_->name(), code, sqlite3_system_errno(db_->get()),
                          sqlite3_errmsg(db_->get()));
  sqlite3_reset(statement_);
  throw error;
}

void Statement::done() {
  while (step()) {
  }
  reset();
}

void Statement::reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

std::string Statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return text ? std::string(text, static_cast<size_t>(sqlite3_column_bytes(statement_, column)))
              : std::string();
}

int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

double Statement::number(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL)
    return std::numeric_limits<double>::quiet_NaN();
  return sqlite3_column_double(statement_, column);
}

Transaction::Transaction(Connection& db) : db_(db) { db_.run("BEGIN IMMEDIATE"); }

Transaction::~Transaction() {
  if (open_) sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  db_.run("COMMIT");
  open_ = false;
}

}  // namespace burnish::search
