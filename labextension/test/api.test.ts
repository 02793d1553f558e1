import { ServerConnection } from '@jupyterlab/services';
import { describe, expect, it } from 'vitest';

import { LoopError, messageOf, request } from '../src/api';

const refused = (message: string, field?: string) =>
  new LoopError(message, 400, 'bad_input', field);

describe('what is wrong with a field', () => {
  it('is a sentence that names it where nothing else does', () => {
    const words = (message: string, field?: string) =>
      messageOf(refused(message, field));
    expect(words('title: must not be empty', 'title')).toBe(
      'The title must not be empty.'
    );
    expect(words('public_port: must be free.', 'public_port')).toBe(
      'The public port must be free.'
    );
    expect(words('repo: there is no repo', 'repo')).toBe('There is no repo.');
    expect(words('It failed. Try again', undefined)).toBe(
      'It failed. Try again'
    );
    expect(messageOf(new Error('title: x'))).toBe('title: x');
  });

  it('leaves the name out beside it', () => {
    const { besideField } = refused('title: must not be empty', 'title');
    expect(besideField).toBe('Must not be empty');
    expect(refused('title must be', 'title').besideField).toBe('Title must be');
  });
});

describe('what is answered', () => {
  const answered = (path: string, type: string, text: string | null) => {
    const answer = new Response(text, {
      status: text === null ? 204 : 200,
      headers: { 'Content-Type': type }
    });
    const settings = ServerConnection.makeSettings({
      baseUrl: 'http://127.0.0.1/',
      fetch: () => Promise.resolve(answer)
    });
    return request(settings, 'GET', path);
  };

  it('is decoded where it is JSON, and text where that is asked for', async () => {
    const json = 'application/json; charset=UTF-8';
    expect(await answered('loops/a/start', json, '{"id":"a"}')).toEqual({
      id: 'a'
    });
    expect(await answered('loops/a', json, null)).toBeUndefined();
    const log = 'text/plain; charset=UTF-8';
    expect(await answered('loops/a/build-log', log, 'STEP 1/9')).toBe(
      'STEP 1/9'
    );
    const diff = await answered(
      'proposals/notes/a?commit=1',
      'text/x-diff',
      ''
    );
    expect(diff).toBe('');
  });

  it.each([
    ['loops/a/start', 'text/html', '<form>Log in</form>'],
    ['loops/a/start', 'text/plain', 'Log in'],
    ['loops/a/start', 'application/json', ''],
    ['loops/a/build-log', 'text/html', '<form>Log in</form>'],
    ['proposals', 'text/html', '<form>Log in</form>']
  ])('to %s by something else, as %s, is a failure', async (...answer) => {
    await expect(answered(...answer)).rejects.toMatchObject({
      name: 'LoopError',
      reason: 'login'
    });
  });
});
