// A connection to SQLite and its prepared statements, with errors as sentences about the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

struct sqlite3;
struct sqlite3_stmt;

namespace burnish::search {

// What SQLite refused to do. `code` is its extended result code. Becomes a UserError at the border
// of Database; inside, salvaging goes on where it can.
struct SqliteError : std::runtime_error {
  SqliteError(const std::string& file, int code, int system_error, const std::string& detail);
  bool damaged() const;      // torn pages, or no database at all
  bool cannot_open() const;  // also: no write-ahead log can be made beside it
  int code;
};

class Connection {
 public:
  enum class Open { Write, Create, Immutable, Memory };
  // `name` is what messages call the file.
  Connection(const std::filesystem::path& path, Open how, std::string name);
  Connection(Connection&& other) noexcept
      : name_(std::move(other.name_)), db_(std::exchange(other.db_, nullptr)) {}
  Connection& operator=(Connection&& other) noexcept {
    std::swap(db_, other.db_);
    std::swap(name_, other.name_);
    return *this;
  }
  ~Connection();

  void run(const char* sql);  // statements without results
  int64_t integer(const char* sql);
  std::string text(const char* sql);
  int64_t changes() const;  // rows that the last statement changed
  // A copy of all of it, in memory.
  Connection in_memory() const;
  // Closing leaves the log beside the file as it is, or, as usual, the last one to close clears it
  // away.
  void keep_log(bool keep);
  // Reads on past what is known to be wrong. For copies that are thrown away.
  void tolerate_damage();
  const std::string& name() const { return name_; }
  sqlite3* get() const { return db_; }
  [[noreturn]] void fail(int code) const;

 private:
  std::string name_;
  sqlite3* db_ = nullptr;
};

// A prepared statement. Parameters count from 1, columns from 0.
class Statement {
 public:
  Statement(const Connection& db, std::string_view sql);
  Statement(Statement&& other) noexcept
      : db_(other.db_), statement_(std::exchange(other.statement_, nullptr)) {}
  Statement(const Statement&) = delete;
  ~Statement();

  Statement& bind(int at, std::string_view text);
  Statement& bind(int at, int64_t value);
  Statement& bind(int at, double value);
  bool step();  // true: there is a row
  void done();  // runs it to its end and makes it ready for the next
  void reset();
  std::string text(int column) const;
  int64_t integer(int column) const;
  double number(int column) const;  // NULL: not a number

 private:
  const Connection* db_;
  sqlite3_stmt* statement_ = nullptr;
};

// Takes the database's lock for writing at once, waiting for other writers; rolled back unless
// committed.
class Transaction {
 public:
  explicit Transaction(Connection& db);
  Transaction(const Transaction&) = delete;
  ~Transaction();
  void commit();

 private:
  Connection& db_;
  bool open_ = true;
};

}  // namespace burnish::search
