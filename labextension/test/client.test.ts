import { ServerConnection } from '@jupyterlab/services';
import { describe, expect, it } from 'vitest';

import { Client } from '../src/client';
import { trans } from './samples';

const client = (status: number, type: string, text: string) =>
  new Client(
    ServerConnection.makeSettings({
      baseUrl: 'http://127.0.0.1/',
      fetch: () =>
        Promise.resolve(
          new Response(text, { status, headers: { 'Content-Type': type } })
        )
    }),
    trans
  );

describe('what the server cannot say itself', () => {
  it.each([
    [404, 'text/html', '<h1>404</h1>', 'absent', 'extension enable'],
    [
      404,
      'application/json',
      '{"message":"Not Found","reason":null}',
      'absent',
      'does not know loops'
    ],
    [
      404,
      'application/json',
      '{"message":"There is no loop a.","reason":"not_found"}',
      'not_found',
      'no loop a'
    ],
    [200, 'text/html', '<form>Log in</form>', 'login', 'reload the page'],
    [
      403,
      'application/json',
      '{"message":"Forbidden"}',
      'login',
      'log in again'
    ]
  ])('%i with %s %s is %s', async (status, type, text, reason, says) => {
    const asking = client(status, type, text).loops(false);
    await expect(asking).rejects.toMatchObject({
      reason,
      message: expect.stringContaining(says) as string
    });
  });
});
