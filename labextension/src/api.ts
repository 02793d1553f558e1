import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** A failed request, in the server's own words. */
export class LoopError extends Error {
  /**
   * @param message - For a person: what happened and what to do.
   * @param status - HTTP status; 0 when the server was not reached.
   * @param reason - The same for a program, such as `conflict`.
   * @param field - The field that is wrong, for bad input.
   */
  constructor(
    message: string,
    readonly status: number,
    readonly reason: string,
    readonly field?: string
  ) {
    super(message);
    this.name = 'LoopError';
  }

  /** The message as it stands next to the field, whose name in the interface says nothing there. */
  get besideField(): string {
    const problem = this._problem ?? this.message;
    return problem.slice(0, 1).toUpperCase() + problem.slice(1);
  }

  /** The message as a sentence of its own, which names the field. */
  get sentence(): string {
    const problem = this._problem;
    if (problem === undefined) {
      return this.message;
    }
    const name = this.field?.replace(/[._]/g, ' ');
    const text = /^(must|cannot) /.test(problem)
      ? `The ${name} ${problem}`
      : this.besideField;
    return /[.?!]$/.test(text) ? text : `${text}.`;
  }

  /** What is wrong with the field; undefined where the message is not about one. */
  private get _problem(): string | undefined {
    const prefix = `${this.field}: `;
    return this.field !== undefined && this.message.startsWith(prefix)
      ? this.message.slice(prefix.length)
      : undefined;
  }
}

/** What somebody is told of what was thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof LoopError) {
    return error.sentence;
  }
  return error instanceof Error ? error.message : String(error);
}

/** The routes that answer text in place of JSON, and its type. */
const TEXTS: readonly (readonly [RegExp, string])[] = [
  [/^loops\/[^/]+\/build-log$/, 'text/plain'],
  [/^proposals\/[^/]+\/[^/]+\?/, 'text/x-diff']
];

/**
 * Calls the extension's REST interface.
 *
 * @param settings - Of this server.
 * @param method - HTTP verb.
 * @param path - Below `loopat/api`, each part already encoded.
 * @param body - Sent as JSON.
 * @param signal - Calls it off.
 * @returns The answer: JSON decoded, text as it is, undefined for none.
 * @throws LoopError: it failed, the server could not be reached, or something else answered in its place.
 */
export async function request<T>(
  settings: ServerConnection.ISettings,
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal
): Promise<T> {
  const url = URLExt.join(settings.baseUrl, 'loopat/api', path);
  const init: RequestInit = { method, signal: signal ?? null };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(url, init, settings);
  } catch (error) {
    throw new LoopError(
      `The server cannot be reached: ${messageOf(error)}`,
      0,
      'unreachable'
    );
  }
  const text = await response.text();
  const type = response.headers.get('Content-Type') ?? '';
  const isJson = type.includes('json');
  if (!response.ok) {
    throw failure(response, isJson ? text : '');
  }
  return decoded(response.status, type, text, path) as T;
}

/** What an answer says. A proxy in between may have put another one in its place, such as a page to log in. */
function decoded(
  status: number,
  type: string,
  text: string,
  path: string
): unknown {
  if (status === 204) {
    return undefined;
  }
  const ofText = TEXTS.find(([route]) => route.test(path))?.[1];
  if (ofText !== undefined && type.includes(ofText)) {
    return text;
  }
  try {
    if (type.includes('json')) {
      return JSON.parse(text);
    }
  } catch {
    // As good as no JSON at all.
  }
  throw new LoopError(
    'Something else answered in place of the Jupyter server: reload the page.',
    status,
    'login'
  );
}

interface IProblem {
  message?: string;
  reason?: string;
  field?: string;
}

function failure(response: Response, text: string): LoopError {
  let problem: IProblem = {};
  try {
    problem = text === '' ? {} : (JSON.parse(text) as IProblem);
  } catch {
    // A proxy in between may answer anything; the status says enough then.
  }
  return new LoopError(
    problem.message ?? `${response.status} ${response.statusText}`,
    response.status,
    problem.reason ?? 'unknown',
    problem.field
  );
}
