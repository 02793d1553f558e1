import type { Kernel } from '@jupyterlab/services';

/** The pause before a kernel of which nothing is heard is asked again. */
export const AGAIN_MS = 500;

/** How often one is asked that says nothing at all. */
export const ATTEMPTS = 120;

/** What is needed of a kernel to wake it. */
export type Woken = Pick<
  Kernel.IKernelConnection,
  'connectionStatus' | 'iopubMessage' | 'requestIsComplete'
>;

/**
 * Has a kernel that was restarted say that it is idle; by itself it only says that it starts.
 *
 * Whatever it is asked, it is idle afterwards. It tells that to all who listen, and the server, which was connected to
 * the one before, may listen a moment later than it asks.
 *
 * @param kernel - Is asked until anything is heard of it, for a minute at most.
 */
export async function wake(kernel: Woken): Promise<void> {
  let isHeard = false;
  let left = ATTEMPTS;
  const hear = () => {
    isHeard = true;
  };
  kernel.iopubMessage.connect(hear);
  do {
    kernel.requestIsComplete({ code: '' }).catch(() => undefined);
    await new Promise(resolve => setTimeout(resolve, AGAIN_MS));
    // Whoever connects again asks by itself.
  } while (!isHeard && --left && kernel.connectionStatus === 'connected');
  kernel.iopubMessage.disconnect(hear);
}
