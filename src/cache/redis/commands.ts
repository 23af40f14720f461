/**
 * The commands that the schema needs. Each names exactly one key, so a cluster
 * takes them as a single Redis does.
 */
export interface RedisCommands {
  sismember(key: string, member: string): Promise<number>;
  smismember(key: string, members: string[]): Promise<number[]>;
  sadd(key: string, member: string): Promise<number>;
  srem(key: string, members: string[]): Promise<number>;
  hmget(key: string, ...fields: string[]): Promise<(string | null)[]>;
  hset(key: string, ...fieldsAndValues: (string | number)[]): Promise<number>;
  hdel(key: string, ...fields: string[]): Promise<number>;
  hlen(key: string): Promise<number>;
  del(key: string): Promise<number>;
}

/** The key has another type than the command needs. */
export function isWrongType(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('WRONGTYPE');
}

/** The server, or a proxy in front of it, does not have the command or does not allow it. */
export function isRefusedCommand(error: unknown): error is Error {
  return error instanceof Error && /^(?:ERR|NOPERM)\b/.test(error.message);
}
