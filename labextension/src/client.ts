import type { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

import { LoopError, request } from './api';
import type { Defaults, Loop } from './tokens';

const PAGE = 500;
/** More than fit on a screen, and quickly there. */
const FIRST_PAGE = 50;

interface IPage {
  loops: Loop[];
  next: string | null;
}

/** The REST interface of one server, with errors in words for a person. */
export class Client {
  /**
   * @param _settings - Of the server.
   * @param _trans - Translates what the server cannot say itself.
   */
  constructor(
    private _settings: ServerConnection.ISettings,
    private _trans: TranslationBundle
  ) {}

  /**
   * Calls the interface.
   *
   * @param method - HTTP verb.
   * @param path - Below `loopat/api`, each part already encoded.
   * @param body - Sent as JSON.
   * @param signal - Calls it off.
   * @throws LoopError: it failed, or the server could not be reached.
   */
  async call<T>(
    method: string,
    path: string,
    body?: unknown,
    signal?: AbortSignal
  ): Promise<T> {
    try {
      return await request<T>(this._settings, method, path, body, signal);
    } catch (error) {
      throw error instanceof LoopError ? this._reworded(error) : error;
    }
  }

  /** What there is of something; nothing where the server cannot say. */
  async offered<T>(name: string): Promise<T[]> {
    return (await this._known<Record<string, T[]>>(name))?.[name] ?? [];
  }

  /** What a loop has that does not say otherwise; undefined where the server cannot say. */
  defaults(): Promise<Defaults | undefined> {
    return this._known<Defaults>('defaults');
  }

  /** An answer; undefined from an older server, or one that is away, which the loops themselves will tell. */
  private async _known<T>(path: string): Promise<T | undefined> {
    try {
      return await this.call<T>('GET', path);
    } catch (error) {
      if (error instanceof LoopError) {
        return undefined;
      }
      throw error;
    }
  }

  /**
   * All loops, page by page.
   *
   * @param archived - Those that are archived, in place of the others.
   * @param onFirst - Gets the newest as soon as they are there.
   */
  async loops(
    archived: boolean,
    onFirst?: (loops: Loop[]) => void
  ): Promise<Loop[]> {
    let limit = onFirst === undefined ? PAGE : FIRST_PAGE;
    const found: Loop[] = [];
    let after: string | null = null;
    try {
      do {
        const query: string = after === null ? '' : `&after=${after}`;
        const page: IPage = await this.call<IPage>(
          'GET',
          `loops?limit=${limit}&archived=${archived}${query}`
        );
        found.push(...page.loops);
        after = page.next;
        if (limit !== PAGE && after !== null) {
          onFirst?.([...found]);
        }
        limit = PAGE;
      } while (after !== null);
    } catch (error) {
      if (
        after !== null &&
        error instanceof LoopError &&
        error.field === 'after'
      ) {
        // The last loop of the page before was deleted meanwhile: from the beginning.
        return this.loops(archived);
      }
      throw error;
    }
    return found;
  }

  /** What the server could not say for itself, or says of requests and not to people. */
  private _reworded(error: LoopError): LoopError {
    const said = (message: string, reason: string) =>
      new LoopError(message, error.status, reason, error.field);
    if (error.status === 0) {
      return said(
        this._trans.__(
          'The server cannot be reached; this page connects again by itself.'
        ),
        'unreachable'
      );
    }
    if (
      error.status === 401 ||
      (error.status === 403 && error.message === 'Forbidden')
    ) {
      return said(
        this._trans.__(
          'The server no longer accepts this page’s login: reload the page to log in again.'
        ),
        'login'
      );
    }
    if (error.status === 404 && error.reason === 'unknown') {
      return said(
        this._trans.__(
          'This Jupyter server does not know loops. Run “jupyter server extension enable loopat_jupyter” where it runs, and start it again.'
        ),
        'absent'
      );
    }
    if (error.reason === 'login') {
      return said(
        this._trans.__(
          'Something else answered in place of the Jupyter server, such as a page to log in: reload the page.'
        ),
        'login'
      );
    }
    return error;
  }
}
